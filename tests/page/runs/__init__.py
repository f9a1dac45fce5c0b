"""Tests of runs on the page: their list, one of them, its graph and timeline, and two compared."""
