"""What a checkpoint answers when fresh ranks share it out that never swapped."""

from swapbench.spec.experiment import Sharded
from swapbench.wire.events import Questions, Replies, Reply
from swapbench.worker.sharding.crew import Crew
from swapbench.worker.sharding.messages import Order, Work

_PULSE_S = 0.25


def answer(questions: Questions, sharded: Sharded) -> Replies:
    """Start ranks, load the checkpoint, ask.

    Ranks, and not one process: tensors that are summed in parts round otherwise than whole ones.

    Raises:
        RankError: a rank could not.
    """
    checkpoint, verify = questions.checkpoint, questions.verify
    crew = Crew(sharded, questions.engine, _PULSE_S)
    try:
        for work in (Work.LOAD, Work.REINIT):
            crew.ask(Order(number=0, work=work, name=checkpoint.name, path=checkpoint.path))
        replies = []
        for length in verify.prompt_tokens:
            order = Order(number=0, work=Work.GENERATE, prompt_tokens=length, tokens=verify.tokens)
            replies.append(Reply(prompt_tokens=length, tokens=crew.ask(order)[0].tokens))
        return Replies(replies=tuple(replies))
    finally:
        crew.kill()
