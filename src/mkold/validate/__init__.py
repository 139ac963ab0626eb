"""The system compared with real Linux KVM, step by step.

``pages``     sets of pages, as text and as bitmaps
``steps``     what can be done to a guest and its host; a sequence drawn from a seed
``script``    steps and answers as a file
``rig``       the machines that real kernels run on, and getting what each needs
``console``   QEMU, and the line to the agent
``real``      steps on a real kernel
``code``      kernel Python: what the process and its kernel do here
``system``    steps on mkold's system
``compare``   both, answer by answer
``shrink``    the shortest sequence that still differs
``report``    what was found, in words
"""
