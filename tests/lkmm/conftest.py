"""Puts this folder on the path, so that the rooms' tests below it find what they share."""
