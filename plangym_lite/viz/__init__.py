"""Images of states and search trees, films of games."""

from plangym_lite.viz.sheets import archive_sheet, contact_sheet, film_plan, plot_tree, tree_sheet

__all__ = ["archive_sheet", "contact_sheet", "film_plan", "plot_tree", "tree_sheet"]
