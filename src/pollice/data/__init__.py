"""Files, folders and names become a labelled data set, cleaned and split."""
