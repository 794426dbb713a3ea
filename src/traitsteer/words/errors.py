"""The one exception that a user meets: a plain sentence and a non-zero exit."""


class TraitsteerError(Exception):
    """Something the user can mend.

    The message is one sentence: what was found, what was expected, what to do.
    """


class TooFewRows(TraitsteerError):
    """A vector cannot be fitted to these rows alone; to more of them it might."""


class LayerFault(TraitsteerError):
    """Nothing can be fitted at a layer, which the sentence names as `{layer}`.

    Maths numbers the layers that it is given; where those are a part, `at` tells the true number.
    """

    def __init__(self, sentence: str, layer: int) -> None:
        super().__init__(sentence.replace("{layer}", str(layer)))
        self.sentence = sentence

    def at(self, layer: int) -> "LayerFault":
        """The same fault at the layer of this number."""
        return LayerFault(self.sentence, layer)
