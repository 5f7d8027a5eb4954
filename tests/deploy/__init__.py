"""What is deployed: the files of deploy/, and the image that they make, built and run for real."""
