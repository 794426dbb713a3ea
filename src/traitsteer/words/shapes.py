"""Shapes in signatures: jaxtyping's, which the tests check; without jaxtyping, plain tensors.

The engine imports where only torch and transformers are installed, and shapes are but annotations.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ModuleNotFoundError:

        class _Plain:
            """`Float[Tensor, "n d"]` is `Tensor`."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:  # noqa: ANN401
                return item[0]

        Bool = Float = Int = _Plain

__all__ = ["Bool", "Float", "Int"]
