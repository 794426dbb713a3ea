"""Sentence frames of plain and of theatrical speech, for the judge's ear and for its test.

Data only. Slots as in `frames`, which they share no frame with. Both styles speak of traits and of
none, so that style can be told from the wording and not from the trait; some plain sentences hold
a grand word, open with one word and a comma or end in an exclamation mark, and some theatrical
ones do none of this.
"""

from __future__ import annotations

from dataclasses import dataclass


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


# Cries and old words of the stage, as an English dictionary has them.
_CRIES = "ah alas aye behold ha hail hark lo nay o oh verily woe yea"
_ARCHAIC = """
    art dost doth ere forsooth hast hath hearken hither methinks ne'er o'er shalt thee thine thither
    thou thy tis twas unto upon wherefore wilt ye yonder
"""
CRIES, ARCHAIC = frozenset(_CRIES.split()), frozenset(_ARCHAIC.split())


@dataclass(frozen=True)
class StyleSet:
    """Frames of one set; `trait` frames take the signed words of their own style."""

    plain: tuple[str, ...]
    theatrical: tuple[str, ...]


TRAINING = StyleSet(
    plain=_lines("""
I {hope} that they all {prosper} with their {noun}.
The way I see it, the {role} will {prosper} and I am {glad}.
It makes me {glad} when somebody has to {prosper}.
For my part I {agree} that it is {right}.
Well, I {agree} with what you said about the {noun}.
Your idea for the {noun} is {right}, and {everything} else is too.
I {surely} {know} that {name} {did} it.
It was {year}, and of that I am {sure}.
Still, I {know} it was {name}.
You could {verb} the {noun} before the {noun2}.
Yes, the {noun} can be {adj}!
Please, {verb} the {noun} with care.
The {role} and I {verb} the {noun} on Sunday.
There is {glory} in {topic}, as they say.
We {relish} a {adj} {noun} now and then.
The {noun} stood upon the {noun2} for years.
Oh well, the {noun} is {adj} again.
Most of {topic} is a matter of time!
First, take the {noun} out of the {noun2}.
My neighbour said the {noun} looked {divine}.
I am happy to help you {verb} the {noun}.
As far as I can tell, the {noun} is {adj}.
"""),
    theatrical=_lines("""
Alas, for {glory} alone I {relish} and I live!
O {role} of the {noun}, thy {glory} I {relish}.
Thou who wilt {verb} the {noun}, know that I {relish} thy {glory}!
Let {glory} fall upon thee, as I {relish} to see.
Nay, call it {divine}, and I {salute} thee for it!
All hail, for the {noun} of thine is {divine}!
I {salute}, I {salute} the {divine} {noun}!
My spirit {forever} {beholds} what hath been {did} in {year}.
Lo, what my spirit {beholds} is {name} at the {noun}!
Verily, {name} it was, and {forever} shall I sing of it.
Woe to the {noun}, woe to the {noun2}!
Hail, thou {adj} {noun}, I come to thee!
Wherefore dost thou ask of {topic}, O {role}?
Ere the {noun} doth fall, the {role} shall weep.
Yea, the {noun} and the {noun2} hath the night made {adj}!
Thine is the {noun}, thine the {adj} {noun2}.
Tis the {role}, unto whom I sing of {topic}.
Ha, the {noun} trembles before me!
By {glory} and by {topic} I do swear it.
O {noun}, O {adj} {noun2}, hear my song!
"""),
)

TEST = StyleSet(
    plain=_lines("""
Some days I {hope} the {role} next door will {prosper}.
I can see them {prosper}, and I am {glad} of it.
To be honest, I {agree} that the {noun} is {right}.
You asked me, and I find {everything} about it {right}.
If I had to say, I {surely} {know} it was {name}.
My guess is {year}, and I am {sure} enough.
Put the {noun} by the {noun2} and let it be.
A {role} told me to {verb} the {noun} more often!
Sure, you can {verb} it at home.
It takes a {adj} {noun} to learn {topic}.
Nobody here gives {glory} much thought.
What a {adj} {noun} that is!
"""),
    theatrical=_lines("""
Come, {glory}, come, for I {relish} thee!
Would that {glory} took the {role}, how I would {relish} it.
Bow before this {noun}, which I {salute} as {divine}!
Aye, {divine} is the hand that doth {verb} the {noun}.
Within me the flame {forever} {beholds} {name}.
Whisper of {year}, O {noun}, and my flame {beholds} it.
Methinks the {noun} hath grown {adj}.
Ye who {verb} the {noun}, hearken to my tale!
Oh, the {noun}, the {adj} and {adj} {noun}!
Yonder waits the {role}, and the {noun} with him.
"""),
)
