"""scikit-learn's multilayer perceptron, fitted in less time to the same numbers.

`MLPRegressor` with one hidden layer of rectified units, squared error and Adam (Kingma and Ba 2014)
spends more on making small arrays than on computing with them, for tables of a few thousand rows.
Here the same steps run in arrays that stay. What comes out is a fitted `MLPRegressor`.

Shape letters: N = rows, B = rows of a batch, X = columns, H = hidden units.
"""

import math

import numpy as np
from sklearn.neural_network import MLPRegressor
from sklearn.utils import gen_batches, shuffle


def fit_mlp(model: MLPRegressor, X_NX: np.ndarray, target_N: np.ndarray) -> MLPRegressor:
    """Fit the model as its own `fit` would, up to rounding; it is returned.

    Args:
        model: one hidden layer; of its options the number of units, `max_iter` and `random_state`
            (a number) are read, all others have to be scikit-learn's defaults.
        X_NX: float32 or float64.
        target_N: of the same type, one value for each row.
    """
    defaults = MLPRegressor().get_params()
    own = ("hidden_layer_sizes", "max_iter", "random_state")
    given = model.get_params()
    assert all(given[name] == defaults[name] for name in given if name not in own)
    model.partial_fit(X_NX[:2], target_N[:2])  # makes everything but the numbers
    fit = _Fit(model, X_NX, target_N)
    fit.run()
    model.coefs_ = [fit.first_XH, fit.second_H1]
    model.intercepts_ = [fit.first_H, fit.second_1]
    model.n_iter_, model.loss_curve_, model.loss_ = len(fit.losses), fit.losses, fit.losses[-1]
    model.best_loss_, model.t_ = min(fit.losses), len(fit.losses) * len(X_NX)
    return model


class _Fit:
    """Parameters, their gradients and moments, each kind end to end in one array."""

    def __init__(self, model: MLPRegressor, X_NX: np.ndarray, target_N: np.ndarray) -> None:
        (hidden,) = model.hidden_layer_sizes
        self.model, self.dtype = model, X_NX.dtype
        self.X_NX, self.target_N = X_NX, target_N.astype(X_NX.dtype)
        self.random = np.random.RandomState(model.random_state)
        width = X_NX.shape[1]
        self.sizes = (width * hidden, hidden, hidden, 1)
        count = sum(self.sizes)
        self.parameters, self.gradients, self.means, self.squares, self.scratch = (
            np.zeros(count, self.dtype) for _ in range(5)
        )
        ends = np.cumsum(self.sizes).tolist()
        # Weights of both layers first, then intercepts: the order of scikit-learn's draws is
        # layer by layer.
        self.first_XH, self.second_H1, self.first_H, self.second_1 = self._views(
            self.parameters, ends, width, hidden
        )
        self.grad_XH, self.grad_H1, self.grad_H, self.grad_1 = self._views(
            self.gradients, ends, width, hidden
        )
        self.weights = self.parameters[: ends[1]]
        self.weight_gradients = self.gradients[: ends[1]]
        for weight, intercept in ((self.first_XH, self.first_H), (self.second_H1, self.second_1)):
            bound = math.sqrt(6.0 / sum(weight.shape))  # Glorot and Bengio (2010)
            weight[:] = self.random.uniform(-bound, bound, weight.shape)
            intercept[:] = self.random.uniform(-bound, bound, intercept.shape)
        self.steps = 0
        self.losses: list[float] = []

    @staticmethod
    def _views(
        flat: np.ndarray, ends: list[int], width: int, hidden: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return (
            flat[: ends[0]].reshape(width, hidden),
            flat[ends[0] : ends[1]].reshape(hidden, 1),
            flat[ends[1] : ends[2]],
            flat[ends[2] :],
        )

    def run(self) -> None:
        """Epochs until the loss stays where it is, or there were enough."""
        model, rows = self.model, len(self.X_NX)
        index_N, best, idle = np.arange(rows), math.inf, 0
        size = min(200, rows)
        hidden_BH, back_BH = (np.empty((size, self.sizes[1]), self.dtype) for _ in range(2))
        guess_B1 = np.empty((size, 1), self.dtype)
        for _ in range(model.max_iter):
            index_N = shuffle(index_N, random_state=self.random)
            X_NX, target_N1 = self.X_NX[index_N], self.target_N[index_N, None]
            total = 0.0
            for part in gen_batches(rows, size):
                count = part.stop - part.start
                buffers = hidden_BH[:count], back_BH[:count], guess_B1[:count]
                total += count * self._step(X_NX[part], target_N1[part], *buffers)
            self.losses.append(total / rows)
            idle = idle + 1 if self.losses[-1] > best - model.tol else 0
            best = min(best, self.losses[-1])
            if idle > model.n_iter_no_change:
                break

    def _step(
        self,
        X_BX: np.ndarray,
        target_B1: np.ndarray,
        hidden_BH: np.ndarray,
        back_BH: np.ndarray,
        guess_B1: np.ndarray,
    ) -> float:
        """One batch: its loss, and Adam's step."""
        model, rows = self.model, len(X_BX)
        np.matmul(X_BX, self.first_XH, out=hidden_BH)
        hidden_BH += self.first_H
        np.maximum(hidden_BH, 0, out=hidden_BH)
        np.matmul(hidden_BH, self.second_H1, out=guess_B1)
        guess_B1 += self.second_1
        guess_B1 -= target_B1
        error_B1 = guess_B1
        penalty = model.alpha / rows
        loss = 0.5 * float(np.vdot(error_B1, error_B1)) / rows
        loss += 0.5 * penalty * float(np.vdot(self.weights, self.weights))

        np.matmul(error_B1, self.second_H1.T, out=back_BH)
        back_BH *= hidden_BH > 0
        np.matmul(X_BX.T, back_BH, out=self.grad_XH)
        np.matmul(hidden_BH.T, error_B1, out=self.grad_H1)
        np.sum(back_BH, 0, out=self.grad_H)
        np.sum(error_B1, 0, out=self.grad_1)
        self.gradients *= 1 / rows
        scratch = self.scratch[: len(self.weights)]
        np.multiply(self.weights, penalty, out=scratch)
        self.weight_gradients += scratch
        self._adam()
        return loss

    def _adam(self) -> None:
        model = self.model
        self.steps += 1
        rate = model.learning_rate_init * math.sqrt(1 - model.beta_2**self.steps)
        rate /= 1 - model.beta_1**self.steps
        scratch, gradients = self.scratch, self.gradients
        self.means *= model.beta_1
        np.multiply(gradients, 1 - model.beta_1, out=scratch)
        self.means += scratch
        np.multiply(gradients, gradients, out=scratch)
        scratch *= 1 - model.beta_2
        self.squares *= model.beta_2
        self.squares += scratch
        np.sqrt(self.squares, out=scratch)
        scratch += model.epsilon
        np.divide(self.means, scratch, out=scratch)
        scratch *= rate
        self.parameters -= scratch
