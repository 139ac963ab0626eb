"""The system compared with real Linux KVM, step by step.

``pages``     sets of pages, as text and as bitmaps
``vm``        the VM that steps are done to
``step``      one step, as data
``topics``    what can be done to a guest and its host: a file a topic, for both sides
``draw``      a sequence drawn from a seed
``script``    steps and answers as a file
``rig``       the machines that real kernels run on, and getting what each needs
``console``   QEMU, and the line to the agent
``real``      a VM on a real kernel
``system``    a VM on mkold's system
``sides``     both, performing steps
``compare``   both, answer by answer
``shrink``    the shortest sequence that still differs
``report``    what was found, in words
"""
