"""What people look at: the environment as a picture, the verdict of the proof and of the drill as pages.

Everything here is a pure function of values: an environment, a verdict, a drill's result. Nothing is fetched, so a
page is one file that still shows the same in ten years.
"""

from ringfort.report.pages import drill_html, verify_html
from ringfort.report.svg import picture_svg
from ringfort.report.text import picture_text

__all__ = ["drill_html", "picture_svg", "picture_text", "verify_html"]
