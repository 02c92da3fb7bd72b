"""Texts judged in expendable processes: large or deep ones, which could hold up an event loop or kill its process."""
