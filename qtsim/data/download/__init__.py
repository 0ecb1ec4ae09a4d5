"""Download of the exchange's public history: archives first, then the REST interface up to the last closed bar.

plan      which bars are missing, and which archives hold them
archive   where the exchange keeps them
fetch     one file, verified against its checksum, whole or not there
parse     from a verified file to a checked frame
ledger    what has been merged, so that it is never fetched again
rest      what archives do not have (yet); `rest_ccxt` is the one file that knows ccxt
rules     ticks, lots, minimums and brackets, into a dated table of the user's own
trades    single trades, day by day
run       all of it, in this order
"""
