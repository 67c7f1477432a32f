"""Compiles the proof's inner loop and keeps the result on disk, so that no large verification has to wait for it."""

from ringfort.environment.load import load
from ringfort.proof import engine
from ringfort.proof.boxes import RawBoxes

engine.COMPILE_FROM = 0
environment = load("examples/shop")
routers = {site: tuple(found.routers) for site, found in environment.sites.items()}
engine.build(environment, RawBoxes(), engine.Facts(services={}, routers=routers)).ask()
