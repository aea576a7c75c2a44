"""The outside world: broker, HTTP, the training thread. asyncio lives here and in app.py."""
