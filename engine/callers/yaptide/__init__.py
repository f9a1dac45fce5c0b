"""Users of the YAPTIDE family: with a password, or from Keycloak."""
