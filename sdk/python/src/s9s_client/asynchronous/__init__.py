"""The client; the package `synchronous` is made from this one by unasync."""
