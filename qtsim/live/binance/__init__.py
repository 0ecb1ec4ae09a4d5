"""Binance USDⓈ-M Futures: REST through ccxt, streams over WebSocket, and how both are read."""
