"""What this server sends to others: requests to clients, notices of logout, and in future mail."""
