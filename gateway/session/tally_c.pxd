cdef class Tally:
    cdef public long long statements, denied, judged_in_child


cdef class Traffic:
    cdef public long long bytes_in, bytes_out


cdef class Progress:
    cdef public long long statements
    cdef public bytes status
    cdef public object in_force
