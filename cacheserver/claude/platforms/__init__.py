"""Claude at Amazon Bedrock and at Google's Vertex AI, through the SDK's own clients.

Used by `claude.upstream`, in the place of the connection to Anthropic.
"""
