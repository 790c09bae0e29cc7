"""Put the session into a request, and its cookie into the response."""
