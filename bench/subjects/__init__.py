"""Programs of growing size, as kernel Python: what engines are measured on."""
