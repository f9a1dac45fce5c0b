"""The YAPTIDE API, over the app in this process."""
