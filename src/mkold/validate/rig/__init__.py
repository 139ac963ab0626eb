"""The hosts, and what one needs before its kernel can be asked, all below one folder.

``hosts``    the machines: a row each
``apt``      Debian's packages, taken apart rather than installed
``parts``    which packages a host and a kernel take
``build``    the agent and the module
``initrd``   the first file system: agent and modules
``setup``    all of this in order, resumed where it stopped
``agent/``   C: process 1, a small VMM
``module/``  C: the kernel's own aging calls, page by page
"""
