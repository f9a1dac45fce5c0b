"""Users of the YAPTIDE family: their files, passwords and logins."""
