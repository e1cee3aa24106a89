"""What leaves this server by itself: requests to clients, and the notices that they are sent."""
