"""Claims about KVM on arm64's stage 2, by topic.

``small_vm`` builds the machine that they start from and says what its threads do.
"""
