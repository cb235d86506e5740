"""Predictors: trained networks that look at two images and say how one is bent onto the other."""
