"""Plots of a scan: one figure a layer, one along the depth. The only place that imports matplotlib."""

from rmtaudit.report.plots.folder import PlotFolder as PlotFolder
