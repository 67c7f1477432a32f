"""Attacks with real packets on a running lab, judged by the declaration and compared with the proof."""
