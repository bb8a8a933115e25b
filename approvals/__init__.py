"""Human decisions on held calls. Its place in the import order is fixed; its records come with their feature."""
