import type { CodeTexts } from "./texts.ts";

/** What may be wrong when clusters are made, changed and taken away through Git. */
export const templateCodes = {
  ClusterTemplateInvalid: {
    retry: "never",
    meaning: "A ClusterTemplate is not one, or cannot make what a cluster needs.",
    remedy: "Correct what the message names, and look again with: capitan template lint.",
  },
  ParameterInvalid: {
    retry: "never",
    meaning: "Parameters of a ClusterTemplate are missing, wrong, or not there at all.",
    remedy:
      "Give the parameters that the message names, with --set NAME=VALUE or --values FILE; capitan template describe lists them all.",
  },
  NameInvalid: {
    retry: "never",
    meaning: "A cluster cannot have this name: what is named after it would have none.",
    remedy: "Choose a name of small letters, digits and dashes that begins with a letter.",
  },
  VersionRefused: {
    retry: "never",
    meaning: "Kubernetes does not go from this version to that one: down, or over a minor version.",
    remedy: "Go one minor version at a time, each after the one before is running everywhere.",
  },
  FileEdited: {
    retry: "never",
    meaning:
      "A file that was made from a ClusterTemplate is not as it was made: somebody has changed it.",
    remedy:
      "Bring the change into the template or a parameter, or say --overwrite to give it up; the message shows it.",
  },
  SecretExposed: {
    retry: "never",
    meaning:
      "A file would hold a secret parameter or an age identity where nobody encrypts it. Nothing was written.",
    remedy:
      "Give .sops.yaml a rule for the file whose encrypted_regex covers the place, or take the secret out of it.",
  },
  LayersLeft: {
    retry: "backoff",
    meaning:
      "The layers were not taken off a cluster before the deadline, or somebody interrupted. Nothing was committed.",
    remedy:
      "Look at what is left with: capitan describe member. Try again with a longer --timeout, or without --withdraw: what runs in the cluster then ends with it.",
  },
} as const satisfies CodeTexts;
