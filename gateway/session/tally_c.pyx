# cython: language_level=3
"""The compiled twin of `tally`: the same fields. What C makes is zero."""


cdef class Tally:
    pass


cdef class Traffic:
    pass


cdef class Progress:
    def __init__(self, in_force):
        self.in_force = in_force
        self.status = b"I"
