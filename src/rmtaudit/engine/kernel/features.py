"""The Jacobians of a block of samples, each parameter's in the form of its route."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmtaudit.engine.kernel.layers import Map, bias_piece, weight_piece
from rmtaudit.engine.kernel.module_rows import module_rows
from rmtaudit.engine.kernel.readout import Readout
from rmtaudit.engine.kernel.routes import Parameter, Route, Routes
from rmtaudit.engine.kernel.tracing import Call, Trace, output_gradients, traced
from rmtaudit.engine.networks import Network, Samples
from rmtaudit.errors import InputError
from rmtaudit.kernels.ntk import (
    Factors,
    Lookup,
    Piece,
    Rows,
    contract,
    factors_are_cheaper,
    factors_are_kept,
    jacobian,
)
from rmtaudit.names import display_name

_SMALL = 4096
"""Numbers of a parameter up to which its Jacobian is multiplied together with those of others (a choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The Jacobians of a block.

    Attributes
    ----------
    samples, outputs
        Of the block.
    pieces
        By parameter; a parameter that is a table and a linear map has two. One on which no output of the
        block depends may be absent.
    rows
        The Jacobians by small parameters (biases, norms) that are held as they are, side by side: shape
        ``(samples, outputs, numbers)``. Every block has the same parameters there.
    """

    samples: int
    outputs: int
    pieces: Mapping[str, tuple[Piece, ...]]
    rows: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.rows.nbytes + sum(piece.nbytes for each in self.pieces.values() for piece in each)

    def products(self, other: Features) -> torch.Tensor:
        """Return the kernel of two blocks, shape ``(rows of this one, rows of the other)``.

        Of a block with itself one half is computed and mirrored.
        """
        total = contract(Rows(values=self.rows), Rows(values=other.rows))
        for name, own in self.pieces.items():
            for first in own:
                for second in other.pieces.get(name, ()):
                    total += contract(first, second)
        return total.reshape(self.samples * self.outputs, other.samples * other.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forming:
    """What makes features of indices.

    Attributes
    ----------
    network, samples, readout, routes
        What they are made of.
    factored
        Parameters whose Jacobians stay factors; ``None``: as the shapes of the block tell.
    """

    network: Network
    samples: Samples
    readout: Readout
    routes: Routes
    factored: frozenset[str] | None = None

    @property
    def words(self) -> str:
        """What a row of the kernel is."""
        return self.readout.words

    def features(self, indices: range | list[int]) -> Features:
        """Return the Jacobians of some samples."""
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():  # whose backward pass can be batched
            warnings.filterwarnings("ignore", message="There is a performance drop")  # of what cannot
            return self._features(indices)

    def _features(self, indices: range | list[int]) -> Features:
        batch = self.samples.batch(self.network, indices)
        with traced(self.routes.modules, len(batch), self.routes.widened) as trace:
            outputs = self.readout(self.network, batch)
            trace.active = False
            by_parameter = self._from_calls(trace, outputs, len(batch))
        used = self._used(outputs)
        alone = self._from_samples(used, indices) if used else {}
        return self._gathered(by_parameter, alone, len(batch))

    def _gathered(
        self, by_parameter: Mapping[str, tuple[Piece, ...]], alone: Mapping[str, Rows], samples: int
    ) -> Features:
        """Return features with the rows of layers in one matrix, in the dtype of inner products."""
        dtype = torch.float64 if self.network.dtype is torch.float64 else torch.float32
        ordered = {
            each.name: by_parameter[each.name] for each in self.routes.parameters if each.name in by_parameter
        }
        small = [name for name, pieces in ordered.items() if _is_small(pieces)]
        rows = [each.values.to(dtype) for name in small for each in ordered[name] if isinstance(each, Rows)]
        empty = torch.zeros(samples, self.readout.outputs, 0, dtype=dtype, device=self.network.device)
        others: dict[str, tuple[Piece, ...]] = {
            name: tuple(_in(each, dtype) for each in pieces)
            for name, pieces in ordered.items()
            if name not in small
        }
        others |= {name: (Rows(values=each.values.to(dtype)),) for name, each in alone.items()}
        return Features(
            samples=samples,
            outputs=self.readout.outputs,
            pieces=others,
            rows=torch.cat(rows, 2) if rows else empty,
        )

    def _used(self, outputs: torch.Tensor) -> tuple[Parameter, ...]:
        """Return the parameters of the slow route on which some output of the block depends."""
        slow = self.routes.of(Route.SAMPLES)
        if not slow:
            return ()
        values = [each.value for each in slow]
        gradients = torch.autograd.grad(outputs.sum(), values, retain_graph=True, allow_unused=True)
        return tuple(each for each, gradient in zip(slow, gradients, strict=True) if gradient is not None)

    def _from_calls(self, trace: Trace, outputs: torch.Tensor, count: int) -> dict[str, tuple[Piece, ...]]:
        """Return the Jacobians that follow from the calls of layers."""
        calls: dict[str, list[tuple[Call, torch.Tensor]]] = {name: [] for name in self.routes.modules}
        for call in trace.calls:
            if call.edge is None or call.shape[0] != count or call.changed:
                raise _irregular(call.name, self.network.name)
        edges = [call.edge for call in trace.calls if call.edge is not None]
        gradients = output_gradients(outputs, edges) if edges else []
        for call, gradient in zip(trace.calls, gradients, strict=True):
            calls[call.name].append((call, self._zeros(call) if gradient is None else gradient))
        for name, number in self.routes.calls.items():
            if len(calls[name]) != number:
                raise _irregular(name, self.network.name)
        result: dict[str, tuple[Piece, ...]] = {}
        for parameter in self.routes.of(Route.FACTORS):
            pieces = [
                self._piece(parameter, holder.module, holder.kind, call, gradient)
                for holder in parameter.holders
                for call, gradient in calls[holder.module]
            ]
            result[parameter.name] = self._joined(parameter, pieces)
        by_module: dict[str, list[Parameter]] = {}
        for parameter in self.routes.of(Route.MODULE):
            by_module.setdefault(parameter.holders[0].module, []).append(parameter)
        for name, parameters in by_module.items():
            ((call, gradient),) = calls[name]
            values = {each.holders[0].attribute: each.value.detach() for each in parameters}
            rows = module_rows(self.routes.modules[name], values, call, gradient)
            for parameter in parameters:
                result[parameter.name] = (rows[parameter.holders[0].attribute],)
        return result

    def _zeros(self, call: Call) -> torch.Tensor:
        return torch.zeros(
            self.readout.outputs, *call.shape, dtype=self.network.dtype, device=self.network.device
        )

    def _piece(
        self, parameter: Parameter, module: str, kind: Map, call: Call, gradient: torch.Tensor
    ) -> Piece:
        layer = self.routes.modules[module]
        if parameter.holders[0].attribute == "bias":
            return bias_piece(layer, kind, gradient)
        given = next(each for each in (*call.args, *call.kwargs.values()) if isinstance(each, torch.Tensor))
        return weight_piece(layer, kind, given.detach(), gradient)

    def _joined(self, parameter: Parameter, pieces: list[Piece]) -> tuple[Piece, ...]:
        """Return the sum of the Jacobians of all uses: positions side by side, or rows added."""
        factors = [each for each in pieces if isinstance(each, Factors)]
        tables = [each for each in pieces if isinstance(each, Lookup)]
        rows = [each for each in pieces if isinstance(each, Rows)]
        joined: list[Piece] = []
        if factors:
            whole = Factors(
                inputs=_side_by_side([each.inputs for each in factors], 1),
                gradients=_side_by_side([each.gradients for each in factors], 2),
            )
            sides = (whole.inputs.shape[1], whole.inputs.shape[2], whole.gradients.shape[3])
            direct = not tables and not self._stays_factored(parameter, *sides, factors_are_kept)
            joined.append(jacobian(whole) if direct or rows else whole)
        if tables:
            whole_table = Lookup(
                rows=_side_by_side([each.rows for each in tables], 1),
                gradients=_side_by_side([each.gradients for each in tables], 2),
            )
            height = parameter.value.shape[0]
            sides = (whole_table.rows.shape[1], height, whole_table.gradients.shape[3])
            direct = not factors and not self._stays_factored(parameter, *sides, factors_are_cheaper)
            joined.append(jacobian(whole_table, rows=height) if direct or rows else whole_table)
        if rows:
            every = [each.values for each in (*rows, *joined) if isinstance(each, Rows)]
            joined = [Rows(values=torch.stack(every).sum(0) if len(every) > 1 else every[0])]
        return tuple(joined)

    def _stays_factored(
        self, parameter: Parameter, positions: int, inputs: int, width: int, kept: Callable[..., bool]
    ) -> bool:
        if self.factored is not None:
            return parameter.name in self.factored
        return kept(positions=positions, inputs=inputs, width=width, outputs=self.readout.outputs)

    def _from_samples(self, parameters: tuple[Parameter, ...], indices: range | list[int]) -> dict[str, Rows]:
        """Return Jacobians by autograd, a sample at a time."""
        values = [each.value for each in parameters]
        found: list[list[torch.Tensor]] = [[] for _ in values]
        for index in indices:
            outputs = self.readout(self.network, self.samples.batch(self.network, [index]))
            for place, gradient in enumerate(output_gradients(outputs, values)):
                shape = (self.readout.outputs, values[place].numel())
                flat = outputs.new_zeros(shape) if gradient is None else gradient.reshape(shape)
                found[place].append(flat)
        return {
            each.name: Rows(values=torch.stack(rows)) for each, rows in zip(parameters, found, strict=True)
        }


def _is_small(pieces: tuple[Piece, ...]) -> bool:
    return all(isinstance(each, Rows) and each.values.shape[2] <= _SMALL for each in pieces)


def _in(piece: Piece, dtype: torch.dtype) -> Piece:
    if isinstance(piece, Rows):
        return Rows(values=piece.values.to(dtype))
    if isinstance(piece, Lookup):
        return Lookup(rows=piece.rows, gradients=piece.gradients.to(dtype))
    return Factors(inputs=piece.inputs.to(dtype), gradients=piece.gradients.to(dtype))


def _side_by_side(tensors: list[torch.Tensor], dim: int) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim)


def _irregular(layer: str, where: str) -> InputError:
    return InputError(
        "RA-KN-004",
        f"The layer '{display_name(layer)}' behaves differently on these samples than on the first ones.",
        hint=(
            "The network takes different paths for different samples; such networks are not supported yet."
        ),
        where=where,
    )
