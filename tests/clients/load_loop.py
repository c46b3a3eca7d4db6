#!/usr/bin/env python3
"""Ask a model from several threads while it and another one are loaded again and again.

    load_loop.py ADDRESS GRPC ROUNDS

No request for the model that is there all the time may fail, and each of its versions must go on giving its
own answers. It comes with a configuration, without which an unchanged model would not be loaded again. The other one comes and goes: it either answers or is said to be unloaded.
"""

import sys
import threading

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

ADDRESS, GRPC, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
A, B = np.float32([[1, 2]]), np.float32([[10, 20]])


class Load(threading.Thread):
    """One client that asks until it is told to stop."""

    def __init__(self, package, address):
        super().__init__(daemon=True)
        self.package, self.address = package, address
        self.turns = threading.Condition()
        self.asked, self.absent, self.failure, self.is_over = 0, 0, None, False

    def run(self):
        try:
            with self.package.InferenceServerClient(self.address) as client:
                while not self.is_over:
                    self.ask(client)
        except Exception as error:
            self.failure = error
        with self.turns:
            self.turns.notify_all()

    def ask(self, client):
        for version, offset in (("1", 0), ("2", 1000), ("", 1000)):
            answer = client.infer("calc", self.inputs(a=A, b=B), model_version=version)
            np.testing.assert_array_equal(answer.as_numpy("sum"), A + B + np.float32(offset))
        x = np.ones((1, 4), np.float32)
        try:
            np.testing.assert_array_equal(client.infer("double", self.inputs(x=x)).as_numpy("y"), x + x)
        except InferenceServerException as error:
            assert error.message() == "Request for unknown model: 'double' has no available versions", error
            self.absent += 1
        with self.turns:
            self.asked += 1
            self.turns.notify_all()

    def inputs(self, **tensors):
        inputs = []
        for name, array in tensors.items():
            inputs.append(self.package.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array))
        return inputs

    def wait_for_turns(self, count):
        """Until the client has asked so many times more."""
        with self.turns:
            wanted = self.asked + count
            self.turns.wait_for(lambda: self.asked >= wanted or self.failure is not None, timeout=60)
            assert self.failure is None, self.failure
            assert self.asked >= wanted, "the load stands still"


def main():
    load = [Load(package, address) for package, address in [(triton_http, ADDRESS), (triton_grpc, GRPC)]]
    for client in load:
        client.start()
    with triton_http.InferenceServerClient(ADDRESS) as control:
        for _ in range(ROUNDS):
            control.load_model("calc", config="{}")
            control.unload_model("double")
            for client in load:
                client.wait_for_turns(2)
            control.load_model("double")
            control.load_model("calc", config="{}")
            for client in load:
                client.wait_for_turns(2)
    for client in load:
        client.is_over = True
        client.join(60)
        assert client.failure is None, client.failure
        # At least one turn began and ended between each unload and load.
        assert client.absent >= ROUNDS, (client.absent, client.asked)


main()
