"""Market data: import, quality, the Parquet store, resampling, ticks, instruments, funding, the generated sample."""
