"""Trains a DDPM on images: recipe, network, loop, probe and what is saved."""
