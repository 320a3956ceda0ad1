//! The exec policy of this machine: its file and the judgement of one command by it.
