cdef class Stamp:
    cdef public long long seq
    cdef long long second, second_began, turn
    cdef bytes head, mono, tail

    cdef Py_ssize_t room(self)
    cdef Py_ssize_t put(self, unsigned char* out, long long now) except -1
    cdef int new_second(self, long long now) except -1
