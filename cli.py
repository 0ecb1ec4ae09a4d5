"""Run the command line from a checkout: python cli.py backtest"""

from qtsim.cli import app, main

__all__ = ["app"]

if __name__ == "__main__":
    main()
