"""Market data: import, quality, the Parquet store, resampling, instruments, funding, the generated sample."""
