"""Who calls, where finding out takes more than a look at the request."""
