"""A parameter that is no Tensor: what the tracer takes from other programs."""


class Param:
    def __init__(self, data, grad=None):
        self.data = data
        self.grad = grad
