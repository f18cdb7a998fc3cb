"""Interchangeable encoders: each turns residue tokens into states at named levels."""

from protemb.models.encoders.base import Encoder, ResidueTable
from protemb.models.encoders.convolution import ConvolutionEncoder
from protemb.models.encoders.fixed import FixedTable
from protemb.models.encoders.recurrent import RecurrentEncoder
from protemb.models.encoders.table import TableEncoder

__all__ = [
    "ConvolutionEncoder",
    "Encoder",
    "FixedTable",
    "RecurrentEncoder",
    "ResidueTable",
    "TableEncoder",
]
