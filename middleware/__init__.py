"""What requests pass before a view, responses after it: proxies, CORS, CSRF, cookie flags, headers, log."""
