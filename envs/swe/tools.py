"""The tools as the model sees them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from envs.tool import ToolSpec


class BashArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")

    command: str = Field(min_length=1, max_length=100_000, description="The command to run. It gets no input.")


class EditorArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")

    command: Literal["view", "create", "str_replace", "insert", "undo_edit"] = Field(
        description="What to do with the file."
    )
    path: str = Field(min_length=1, max_length=4096, description="Absolute path of the file or folder.")
    file_text: str | None = Field(default=None, description="For `create`: the file's whole text.")
    old_str: str | None = Field(
        default=None, description="For `str_replace`: the text to replace; it must stand in the file exactly once."
    )
    new_str: str | None = Field(
        default=None, description="For `str_replace` and `insert`: the new text (for `str_replace` nothing deletes)."
    )
    insert_line: int | None = Field(
        default=None, ge=0, description="For `insert`: the new text goes after this line; 0 is the top."
    )
    view_range: list[int] | None = Field(
        default=None, description="For `view`: [first, last] line, counted from 1; -1 as last is the end of the file."
    )


class SubmitArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


BASH = ToolSpec(
    name="bash",
    description=(
        "Run a command in a bash shell. Directory, variables and background jobs last from call to call. "
        "There is no network and no input. Long output is cut in the middle."
    ),
    arguments=BashArguments,
)
EDITOR = ToolSpec(
    name="str_replace_editor",
    description=(
        "View, create and edit files. `view` shows a file with line numbers, or a folder's files two levels deep; "
        "`create` writes a file (also over an old one); `str_replace` replaces one exact text; `insert` adds text "
        "after a line; `undo_edit` takes back the last edit of the file."
    ),
    arguments=EditorArguments,
)
SUBMIT = ToolSpec(
    name="submit",
    description="Hand in the repository as it is now. Call it once, when the issue is resolved; it ends the task.",
    arguments=SubmitArguments,
)
TOOLS = (BASH, EDITOR, SUBMIT)
