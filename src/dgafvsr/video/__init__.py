"""Frames at the edge: readers and writers of video files and picture folders."""
