"""What the web page shows: read from engines and outcomes when somebody looks, and next to nothing when nobody does."""
