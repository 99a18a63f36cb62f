"""The compiler's errors.

TrajcError
└── CompileError       the compilation cannot go on; the words name the thing and the way out
    ├── RecipeError    a recipe that cannot be read; names the field
    └── PublishError   a dataset version that cannot be written, or is not what it says
"""

from envs.errors import TrajcError


class CompileError(TrajcError):
    pass


class RecipeError(CompileError):
    pass


class PublishError(CompileError):
    pass
